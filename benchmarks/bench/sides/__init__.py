"""One module for each library: it opens a case and gives functions to time."""
