"""What a deployment needs before it runs: topics, subscriptions, and rules that empty a bucket."""
