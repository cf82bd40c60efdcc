"""What happens to an image before a network sees it: read, described, and put in front of a model as nodes."""
