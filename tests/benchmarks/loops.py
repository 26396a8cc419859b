"""Training steps without a framework, to measure the modules against."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def classic_step(model):
    """The step of the well-known DCGAN scripts, on the networks of a model.

    Contiguous tensors, a second generator forward for the generator's turn, and a discriminator whose gradients are
    collected in both turns.
    """
    generator = model.generator.to(memory_format=torch.contiguous_format)
    discriminator = model.discriminator.to(memory_format=torch.contiguous_format)
    of_discriminator, of_generator = (
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in (discriminator, generator)
    )

    def step(real):
        latents = torch.randn(2, len(real), generator.latent_dim, device=real.device)
        ones, zeros = torch.ones(len(real), device=real.device), torch.zeros(len(real), device=real.device)
        of_discriminator.zero_grad()
        fake = generator(latents[0])
        loss = F.binary_cross_entropy_with_logits(discriminator(real), ones)
        loss = loss + F.binary_cross_entropy_with_logits(discriminator(fake.detach()), zeros)
        loss.backward()
        of_discriminator.step()
        of_generator.zero_grad()
        loss = F.binary_cross_entropy_with_logits(discriminator(generator(latents[1])), ones)
        loss.backward()
        of_generator.step()

    return step


def gan_step(model):
    """The same step as `GAN`'s: shared samples, the discriminator frozen in the generator's turn."""
    generator, discriminator = model.generator, model.discriminator
    of_discriminator, of_generator = model.configure_optimizers()[0]

    def step(real):
        fake = generator(torch.randn(len(real), generator.latent_dim, device=real.device))
        of_discriminator.zero_grad()
        loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake.detach())).mean()
        loss.backward()
        of_discriminator.step()
        discriminator.requires_grad_(False)
        of_generator.zero_grad()
        loss = F.softplus(-discriminator(fake)).mean()
        loss.backward()
        of_generator.step()
        discriminator.requires_grad_(True)

    return step


def wgan_gp_step(model):
    """The same step as `WGANGP`'s: every fifth batch trains the generator too, on the samples that the critic saw."""
    generator, critic = model.generator, model.discriminator
    of_critic, of_generator = model.configure_optimizers()[0]
    turn = 0

    def step(real):
        nonlocal turn
        turn += 1
        generators_turn = turn % model.critic_steps == 0
        latents = torch.randn(len(real), generator.latent_dim, device=real.device)
        with torch.set_grad_enabled(generators_turn):
            fake = generator(latents)
        of_critic.zero_grad()
        points = torch.lerp(real, fake.detach(), torch.rand(len(real), 1, 1, 1, device=real.device)).requires_grad_()
        loss = critic(fake.detach()).mean() - critic(real).mean()
        (slope,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
        loss = loss + 10 * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        loss.backward()
        of_critic.step()
        if generators_turn:
            critic.requires_grad_(False)
            of_generator.zero_grad()
            loss = -critic(fake).mean()
            loss.backward()
            of_generator.step()
            critic.requires_grad_(True)

    return step


def vae_step(model, make_optimizer=None):
    """The same step as `VAE`'s, with black and white images; with another optimiser if one is given."""
    optimizer = make_optimizer(model.parameters()) if make_optimizer else model.configure_optimizers()
    encoder, decoder = model.encoder, model.decoder

    def step(real):
        mean, log_variance = encoder(real).chunk(2, 1)
        logits = decoder(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
        cross_entropy = F.binary_cross_entropy_with_logits(logits, (real > 0).float(), reduction="sum")
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        optimizer.zero_grad()
        loss = (cross_entropy + divergence) / len(real)
        loss.backward()
        optimizer.step()

    return step


def cyclegan_step(model):
    """The same step as `CycleGAN`'s: translations and identities in one call, pools, all networks instance-normed."""
    forth, back = model.generator["AtoB"], model.generator["BtoA"]
    judges, pools = model.discriminator, model.pool
    of_discriminators, of_generators = model.configure_optimizers()[0]

    def discriminator_loss(judge, real, fake):
        on_real, on_fake = judge(torch.cat([real, fake])).chunk(2)
        return 0.5 * ((on_real - 1) ** 2).mean() + 0.5 * (on_fake**2).mean()

    def step(source, target):
        fake_target, same_target = forth(torch.cat([source, target])).chunk(2)
        fake_source, same_source = back(torch.cat([target, source])).chunk(2)
        of_discriminators.zero_grad()
        loss = discriminator_loss(judges["A"], source, pools["source"](fake_source.detach()))
        loss = loss + discriminator_loss(judges["B"], target, pools["target"](fake_target.detach()))
        loss.backward()
        of_discriminators.step()
        judges.requires_grad_(False)
        of_generators.zero_grad()
        loss = ((judges["A"](fake_source) - 1) ** 2).mean() + ((judges["B"](fake_target) - 1) ** 2).mean()
        loss = loss + 10 * ((back(fake_target) - source).abs().mean() + (forth(fake_source) - target).abs().mean())
        loss = loss + 5 * ((same_source - source).abs().mean() + (same_target - target).abs().mean())
        loss.backward()
        of_generators.step()
        judges.requires_grad_(True)

    return step
