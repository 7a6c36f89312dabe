"""What is offered beside tools: prompts, resources, views and type-ahead."""
