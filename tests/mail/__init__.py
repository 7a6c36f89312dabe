"""Mail: parsed, judged and explained."""
