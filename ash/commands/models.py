"""python -m ash models."""

import click

from ash.models import cuts_of, get_model, working_models


@click.command()
@click.argument("name", required=False)
def models(name: str | None) -> None:
    """List the models: weights, placements, data, presets. With a NAME: everywhere that it can be cut."""
    for entry in [get_model(name)] if name else working_models():
        click.echo(f"{entry.name}: {entry.label}")
        here = f"{'present' if entry.present else 'missing; they belong'} at {entry.weights}"
        fault = entry.fault()
        click.echo(f"  weights     {f'cannot be used: {fault}' if fault else here}")
        if names := entry.checkpoint_names:
            click.echo(f"  checkpoints {', '.join(names)}; the weights are the first one's")
        if entry.note:
            click.echo(f"  note        {entry.note}")
        click.echo("  placements  " + ", ".join(f"{node} ({label})" for node, label in entry.placements.items()))
        size = f", {entry.penultimate_size:,} values" if entry.penultimate_size else ""
        click.echo(f"  head takes  {entry.penultimate}{size}")
        click.echo(f"  data        ID {entry.id_set}; OOD {', '.join(entry.ood_sets)}")
        click.echo(f"  training    {entry.train_set or 'no set known; name one with --train'}")
        click.echo("  presets     " + ", ".join(entry.presets.values()))
    if not name:
        click.echo("Every image classifier of torchvision is known by its name, such as resnet18, vit_b_16 or swin_t;")
        click.echo(
            "where timm is installed, every one of timm's as timm/NAME, of the model hub as hf-hub:ORG/NAME[@REVISION]."
        )
        return
    click.echo("all placements, in network order:")
    for cut in cuts_of(name):
        kind = "one linear map" if cut.linear else "deep"
        sign = {True: "may be negative", False: "not negative", None: "sign unknown"}[cut.signed]
        size = f"{' x '.join(map(str, cut.shape))} = {cut.size:,}"
        click.echo(f"  {cut.name:<40} {size:<28} {kind:<15} {sign}{', before its ReLU' if cut.before_relu else ''}")
