"""What the converters of all frameworks share."""
