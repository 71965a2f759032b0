"""Builds the documentation: the figure, the command reference, hooks of MkDocs. No part of the package."""
