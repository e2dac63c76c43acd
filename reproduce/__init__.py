"""One script a table or figure of the paper: `inc reproduce NAME`."""
