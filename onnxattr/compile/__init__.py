"""From a method and a model to graphs: what a method is, its renderings, noise, explainer files. Runs no model."""
