"""Real models and photos for the tests, the examples and the demo; README.md lists them."""
