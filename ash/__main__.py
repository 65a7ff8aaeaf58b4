"""The command line: python -m ash models | data | fetch | extract | fit | sweep | export | score | paper | ..."""

import click

from ash.commands import data, demo, detector, extract, models, paper, results, sweep
from ash.commands.shared import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Activation shaping for out-of-distribution detection, on banks of stored activations."""


for _command in (
    models.models,
    data.data,
    data.fetch,
    extract.extract,
    extract.fit,
    sweep.sweep,
    paper.paper,
    results.results,
    detector.export,
    detector.score,
    detector.calibrate,
    demo.demo,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
