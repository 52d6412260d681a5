"""Diffusion as a deterministic map of Gaussian noise.

`schedule` paves the path from a picture to noise, `parametrisation` reads the network's output,
`reverse` goes back step by step with the noise as an argument, `noise` supplies it from the
latent, `memory` runs the steps in the memory of one, and `encode` finds the noise of a picture.
"""
