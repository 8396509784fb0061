"""The library's version, which also goes into every export."""

VERSION = '0.1.0'
