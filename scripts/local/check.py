"""Whether what the template says is there after a deployment.

The local CloudFormation drops some properties without a word. Each property that matters is compared here by
the service's own API; what can be set by API is set.
"""

from collections import Counter
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from .aspects import ASPECTS, Aspect
from .deploy import Aws
from .template import Template

KEPT, SET, ABSENT = "there", "set by API", "not there locally"

WITHOUT_EFFECT = "Without effect here: TLS-only policies, and roles but with --enforce-roles."


class Finding(NamedTuple):
    aspect: Aspect
    resource: str
    verdict: str
    wanted: Any
    found: Any


def check(aws: Aws) -> bool:
    """Compares, repairs, prints a table; whether all is there."""
    stack = aws.stack()
    parameters = {given["ParameterKey"]: given["ParameterValue"] for given in stack.get("Parameters", [])}
    template = Template(parameters, aws.resources())
    findings = [
        judge(aws, aspect, name, subject, wanted)
        for aspect in ASPECTS
        for name, properties in template.of_type(aspect.kind).items()
        if (wanted := aspect.wanted(properties)) is not None
        for subject in subjects(aspect, properties, template.physical[name])
    ]
    show(findings)
    absent = [finding for finding in findings if finding.verdict == ABSENT]
    for finding in absent:
        print(f"{finding.resource}, {finding.aspect.title}: {finding.wanted} is wanted, {finding.found} is there")
    return not absent


def subjects(aspect: Aspect, properties: dict, physical: str) -> list[str]:
    about = properties[aspect.about] if aspect.about else physical
    return about if isinstance(about, list) else [about]


def judge(aws: Aws, aspect: Aspect, name: str, physical: str, wanted: Any) -> Finding:
    found = look(aws, aspect, physical)
    verdict = KEPT
    if aspect.put and (aspect.always or wanted != found):
        aspect.put(aws, physical, wanted)
        found = look(aws, aspect, physical)
        verdict = SET
    return Finding(aspect, name, verdict if wanted == found else ABSENT, wanted, found)


def look(aws: Aws, aspect: Aspect, physical: str) -> Any:
    try:
        return aspect.found(aws, physical)
    except ClientError as error:
        return error.response["Error"]["Code"]


def show(findings: list[Finding]) -> None:
    verdicts = (KEPT, SET, ABSENT)
    header = "".join(f"{verdict:>{len(verdict) + 3}}" for verdict in verdicts)
    print(f"\n{' ' * 44}{header}")
    counts = Counter((finding.aspect.title, finding.verdict) for finding in findings)
    for title in dict.fromkeys(finding.aspect.title for finding in findings):
        cells = "".join(f"{counts[title, verdict] or '':>{len(verdict) + 3}}" for verdict in verdicts)
        print(f"{title:44}{cells}".rstrip())
    print(WITHOUT_EFFECT)

