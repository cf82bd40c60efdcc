"""Which matrices converters write the elimination of."""

#: Columns of the largest one, at 13 nodes for a column.
LARGEST = 16
