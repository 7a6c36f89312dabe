"""Single records as JSON, for clients that show resources. Which there are stands in catalogue.py."""
