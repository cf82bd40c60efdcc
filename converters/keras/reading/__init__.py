"""Opens Keras files and SavedModel folders without running code from them, within bounds."""
