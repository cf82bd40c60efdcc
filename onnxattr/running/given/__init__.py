"""What a caller gives beside baselines - arrays, tables, datasets, targets, masks - checked before anything runs."""
