"""Folders of diffusers: UNet2DModel with DDPMScheduler or DDIMScheduler."""
