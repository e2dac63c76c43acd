"""One script for each table or figure of the paper: `inc reproduce NAME`."""
