"""What hands a defence on: as a SavedModel, over HTTP, and over many images or image files."""
