"""What people have, as what a model takes: photos, sounds, tables, arrays and folders of them."""
