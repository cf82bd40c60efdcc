"""What tests share: small models, rows of the rule tables, references, comparisons."""
