"""The avatar world: small trained generators and guides that ship with the package, and the truth to judge them by."""
