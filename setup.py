"""What pyproject.toml cannot say: two folders beside the package that belong within it."""

from setuptools import find_packages, setup

FOLDERS = {"inc_tf.reproduce": "reproduce", "inc_tf.shipped": "checkpoints"}

setup(packages=[*find_packages(include=["inc_tf*"]), *FOLDERS], package_dir=FOLDERS)
