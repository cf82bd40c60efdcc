"""Differentiation: the engine that knows no operator, the rule table, and the rules, one file per family."""
