"""The report of a campaign: one HTML file that needs no network and no other program."""

from ax_jax_runners.campaign.report.document import write_report as write_report
from ax_jax_runners.campaign.report.picture import overview_figure as overview_figure

__all__ = ["overview_figure", "write_report"]
