"""What browsers get: the dashboard, and the charts that it shares with the views of tools."""
