"""The version of dlc, which files that it writes carry."""

VERSION = "0.1.0"
