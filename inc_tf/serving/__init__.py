"""Ways to use a defence elsewhere: as a SavedModel, over HTTP, and on many images or image files."""
