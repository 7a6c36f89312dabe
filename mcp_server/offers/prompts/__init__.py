"""The usual work, step by step, as prompts. What each asks for stands in catalogue.py, its text in NAME.md."""
