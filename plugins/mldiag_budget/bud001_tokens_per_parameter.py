"""BUD001: too little text for the size of the model."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Budget, Evidence, Finding, Fix, NotApplicable, Severity, rule


@rule("BUD001", severity="warning", pre=True, explains=("CUR001", "CUR002", "CUR012"))
def tokens_per_parameter(budget: Budget, *, min_ratio: float = 20.0, error_ratio: float = 1.0) -> Iterator[Finding]:
    """There are few distinct training tokens for the number of parameters.

    ## What it checks
    Distinct training tokens / parameters of a language model that is trained from scratch, with the output matrix tied
    to the token table and without; judged by the proven one, else by the tied, milder one.

    ## Why it matters
    A model with more weights than tokens can store the text instead of learning the language; compute spent on a
    smaller model, or on more text, gives a lower loss.

    ## Inputs
    `train_tokens`, or `steps_per_epoch` × sequences of a batch × `stride` (or `seq_len` where windows do not overlap);
    `d_model`, `num_layers`, `d_ff`, `vocab_size`, positions, or the sizes of a recurrent model.

    ## Options
    - `min_ratio` (20 tokens a parameter): below it, a warning; the compute-optimal ratio.
    - `error_ratio` (1 token a parameter): below it, an error: fewer tokens than weights.

    ## Fix
    Only shown: which size would fit, or how many tokens are needed. Which of them is a person's decision.

    ## When to ignore
    Small models trained for study, and data that cannot be had in larger amounts; then regularise and stop early.

    ## Source
    Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", table 3: about 20 tokens a parameter.
    """
    parameters = budget.parameters
    if parameters is None:
        raise NotApplicable("the number of parameters cannot be computed from the settings")
    if budget.pretrained:
        raise NotApplicable(
            f"the model was trained before ({budget.pretrained}); the ratio is about training from scratch"
        )
    unique, ratio = budget.unique_tokens, budget.per_parameter
    assert ratio is not None
    if ratio >= min_ratio or not unique.certain:
        return
    needed = min_ratio * parameters.count
    smaller = parameters.within(unique.value / min_ratio)
    title = f"{min_ratio:,g} tokens a parameter need {needed / 1e6:,.0f} M tokens for this model"
    if smaller is not None:
        width, layers, count = smaller
        size = f"width {width} and {layers} {'layer' if layers == 1 else 'layers'} ({count / 1e6:,.2f} M parameters)"
        title += f"; these tokens fit a model of {size}"
    yield Finding(
        f"{unique.value / 1e6:,.1f} M distinct tokens ({unique.how}) for {parameters.count_tied / 1e6:,.2f} M "
        f"parameters tied, {parameters.count_untied / 1e6:,.2f} M untied: {budget.per_parameter_tied:,.2g} and "
        f"{budget.per_parameter_untied:,.2g} tokens a parameter",
        at=unique.source,
        evidence=(
            Evidence("distinct tokens", unique.value, needed, unique.source, "token"),
            Evidence("parameters, tied", parameters.count_tied, at=parameters.source),
            Evidence("parameters, untied", parameters.count_untied, at=parameters.source),
            Evidence("tokens / parameter, tied", budget.per_parameter_tied, min_ratio),
            Evidence("tokens / parameter, untied", budget.per_parameter_untied, min_ratio),
            *(Evidence(name, size, at=parameters.places.get(name)) for name, size in parameters.sizes.items()),
        ),
        advice="assumed: " + ", ".join(parameters.assumed) if parameters.assumed else "",
        severity=Severity.ERROR if ratio < error_ratio else Severity.WARNING,
        fix=Fix.show(title),
    )
