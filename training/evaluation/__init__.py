"""Scores of crop models: poses, errors, and errors of people who are cut off."""
