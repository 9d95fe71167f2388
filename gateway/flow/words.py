"""Words every caller may use anywhere: for a person, for once more, for the step before; and how text is made comparable."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Wish = Literal["human", "repeat", "back"]

_PUNCTUATION = re.compile(r"(?<![0-9])[.,/:-]|[.,/:-](?![0-9])|[^\w\s'.,/:$¥-]|_")
_SPACES = re.compile(r"\s+")
_CJK = re.compile(r"[\u3400-\u9fff]")

_EN_FILLER = r"(?:(?:um|uh|er|erm|oh|ah|well|hey|hello|hi|please|okay|ok|just|look|listen|no|yes)\s+)*"
_EN_PERSON = (
    r"(?:an?\s+|the\s+|your\s+|some\s+)?(?:(?:real|live|actual|human)\s+)*"
    r"(?:agents?|representatives?|operators?|humans?|person|people|someone|somebody|customer\s+(?:service|care)|receptionist|advis[oe]r)"
)
_EN_ASK = (
    r"(?:(?:i\s+(?:want|need|would\s+like|wanna)|i'd\s+like|can\s+i|could\s+i|may\s+i|let\s+me|give\s+me|get\s+me|"
    r"connect\s+me|put\s+me|transfer\s+me|to|with|through|speak|talk|have|a|chat|now|get)\s+)*"
)
_WISHES: dict[str, list[tuple[Wish, re.Pattern[str]]]] = {
    "en": [
        ("human", re.compile(rf"{_EN_FILLER}{_EN_ASK}{_EN_PERSON}(?:\s+(?:please|now|instead|thanks|thank\s+you))*\Z")),
        ("repeat", re.compile(
            rf"{_EN_FILLER}(?:can\s+you\s+|could\s+you\s+|say\s+)?(?:repeat|repeat\s+(?:that|it)|(?:say\s+)?(?:that|it)\s+again|once\s+more|"
            r"one\s+more\s+time|come\s+again|pardon(?:\s+me)?|i\s+(?:did\s+not|didn't)\s+(?:hear|catch|get)\s+(?:that|it))(?:\s+please)?\Z"
        )),
        ("back", re.compile(rf"{_EN_FILLER}(?:go\s+)?(?:back|to\s+the\s+(?:main\s+)?menu|main\s+menu|previous\s+menu|start\s+over)(?:\s+please)?\Z")),
    ],
    "zh": [
        ("human", re.compile(
            r"(?:嗯|呃|那个|你好|喂|请|麻烦|帮我|给我|我要|我想|我需要|需要|要|想|找|叫|接|转|转接|接通|连接|一下|一个|个|到|跟|和|与|你们|的)*"
            r"(?:人工|真人|坐席|座席|客服|接线员|话务员|人工客服|客服人员|工作人员|人工坐席)(?:服务|台|座席|坐席|客服|人员|说话|讲话|谈|通话|来|吧|啊|呀|谢谢|一下)*\Z"
        )),
        ("repeat", re.compile(
            r"(?:嗯|呃|请|麻烦|麻烦你|你|能|能不能|可以)*(?:再|重新|重)(?:说|讲|念|播|报|听|复)(?:一)?(?:遍|次|下)?(?:吗|好吗|吧|可以吗)?\Z|(?:请)?重复(?:一遍|一下|一次)?(?:吗|吧)?\Z|"
            r"(?:我)?没(?:有)?听(?:清|到|见|清楚)(?:楚)?(?:再说一遍)?\Z|什么\Z|啊什么\Z"
        )),
        ("back", re.compile(r"(?:嗯|呃|请|我要|我想)*(?:返回|回到|退回|后退|回)(?:到)?(?:上一步|上一级|上级|上一层|主菜单|首页|上一个菜单|上级菜单|菜单)?\Z")),
    ],
}  # fmt: skip


def normal(text: str) -> str:
    """Text made comparable: NFKC, lower case, single spaces and none beside Mandarin characters, no punctuation but what
    stands inside numbers (1,050.50 12/3) and the signs $ and ¥."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    text = _SPACES.sub(" ", _PUNCTUATION.sub(" ", text)).strip()
    return re.sub(r"(?<=[\u3400-\u9fff])\s+|\s+(?=[\u3400-\u9fff])", "", text)


def is_mandarin(text: str) -> bool:
    """Whether the text holds a Chinese character."""
    return bool(_CJK.search(text))


def wish(text: str) -> Wish | None:
    """What the whole utterance asks of the system itself, in either language; None when it is about something else."""
    text = normal(text)
    for pattern_set in _WISHES.values():
        for kind, pattern in pattern_set:
            if pattern.match(text):
                return kind
    return None
