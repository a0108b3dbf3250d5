"""The officers' console: reads alerts, publishes signed answers, and shows the live page."""
