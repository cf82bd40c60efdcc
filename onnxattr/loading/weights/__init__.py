"""Where the weights of written models are: inside the file, beside it, or in one file for several models."""
