"""What tests share. Nothing here is a test, and nothing here imports a tool."""
