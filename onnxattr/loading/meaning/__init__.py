"""What a model's file says of its inputs and outputs: classes, columns, words, units; and where callers state it."""
