"""Heatmap heads and what turns their output into pixels, millimetres and camera coordinates."""
