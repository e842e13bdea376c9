"""What the build checks and decides before it compiles; setup.py and pip's build hooks use it."""
