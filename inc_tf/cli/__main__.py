"""`python -m inc_tf.cli` is `inc`."""

from inc_tf.cli.main import main

main(prog_name="inc")
