"""Words a caller may use anywhere: for a person, once more, the step before; and how text is made comparable."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Wish = Literal["human", "repeat", "back"]

_PUNCTUATION = re.compile(r"(?<![0-9])[.,/:-]|[.,/:-](?![0-9])|[^\w\s'.,/:$¥-]|_")
_SPACES = re.compile(r"\s+")
_CJK = re.compile(r"[\u3400-\u9fff]")

_EN_FILLER = r"(?:(?:um|uh|er|erm|oh|ah|well|hey|hello|hi|please|okay|ok|just|look|listen|no|yes)\s+)*"
_EN_ASK = (
    r"(?:(?:i\s+(?:want|need|would\s+like|wanna)|i'd\s+like|(?:can|could|may)\s+i|let\s+me|give\s+me|get\s+me|"
    r"connect\s+me|put\s+me|transfer\s+me|to|with|through|speak|talk|have|a|chat|now|get)\s+)*"
)
_EN_PERSON = (
    r"(?:(?:an?|the|your|some)\s+)?(?:(?:real|live|actual|human)\s+)*"
    r"(?:agents?|representatives?|operators?|humans?|person|people|someone|somebody|"
    r"customer\s+(?:service|care)|receptionist|advis[oe]r)"
)
_EN_END = r"(?:\s+(?:please|now|instead|thanks|thank\s+you))*\Z"
_EN_AGAIN = (
    r"(?:(?:can|could)\s+you\s+)?(?:say\s+)?(?:repeat(?:\s+(?:that|it))?|(?:that|it)\s+again|again|once\s+more|"
    r"one\s+more\s+time|come\s+again|pardon(?:\s+me)?|i\s+(?:did\s+not|didn't)\s+(?:hear|catch|get)\s+(?:that|it))"
)
_EN_BACK = (
    r"(?:go\s+)?(?:back(?:\s+to\s+the\s+(?:main\s+)?menu)?|to\s+the\s+(?:main\s+)?menu|"
    r"(?:main|previous)\s+menu|start\s+over)"
)

_ZH_FILLER = "(?:嗯|呃|那个|你好|喂|请|麻烦你?|能不能|可以)*"
_ZH_ASK = "(?:帮我|给我|我?要|我?想|我?需要|找|叫|转|接|转接|接通|连接|一下|一?个|到|跟|和|与|你们|的)*"
_ZH_PERSON = "(?:人工|真人|[坐座]席|客服|接线员|话务员|工作人员)(?:服务|台|[坐座]席|客服|人员)*"
_ZH_END = "(?:说话|讲话|谈|通话|来|吧|啊|呀|谢谢|一下)*\\Z"
_ZH_AGAIN = (
    "(?:再|重新?)(?:说|讲|念|播|报|听|复)一?(?:遍|次|下)?|重复(?:一[遍下次])?|"
    "我?没有?听(?:清楚?|到|见)(?:再说一遍)?|啊?什么"
)
_ZH_BACK = (
    "(?:我要|我想)?(?:返回|回到|退回|后退)(?:上一步|上一?级菜单|上一?级|上一层|主菜单|首页|上一个菜单|菜单)?|回主菜单"
)

_WISHES: tuple[tuple[Wish, re.Pattern[str]], ...] = (
    ("human", re.compile(_EN_FILLER + _EN_ASK + _EN_PERSON + _EN_END)),
    ("repeat", re.compile(f"{_EN_FILLER}{_EN_AGAIN}{_EN_END}")),
    ("back", re.compile(f"{_EN_FILLER}{_EN_BACK}{_EN_END}")),
    ("human", re.compile(_ZH_FILLER + _ZH_ASK + _ZH_PERSON + _ZH_END)),
    ("repeat", re.compile(f"{_ZH_FILLER}(?:{_ZH_AGAIN})(?:吗|好吗|吧|可以吗)?\\Z")),
    ("back", re.compile(f"{_ZH_FILLER}(?:{_ZH_BACK})(?:吧|谢谢)?\\Z")),
)


_LANGUAGES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "zh",
        re.compile(
            rf"{_EN_FILLER}{_EN_ASK}(?:in\s+)?(?:mandarin|chinese|putonghua)(?:\s+(?:language|service))?{_EN_END}"
        ),
    ),
    ("en", re.compile(rf"{_EN_FILLER}{_EN_ASK}(?:in\s+)?english(?:\s+(?:language|service))?{_EN_END}")),
    ("zh", re.compile(f"{_ZH_FILLER}{_ZH_ASK}(?:说|讲|用)?(?:中文|普通话|国语|汉语)(?:服务)?{_ZH_END}")),
    ("en", re.compile(f"{_ZH_FILLER}{_ZH_ASK}(?:说|讲|用)?(?:英文|英语)(?:服务)?{_ZH_END}")),
)


def normal(text: str) -> str:
    """Text made comparable: NFKC, lower case, single spaces, none beside Mandarin characters, and no punctuation but
    what stands inside numbers (1,050.50 12/3) and the signs $ and ¥."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    text = _SPACES.sub(" ", _PUNCTUATION.sub(" ", text)).strip()
    return re.sub(r"(?<=[\u3400-\u9fff])\s+|\s+(?=[\u3400-\u9fff])", "", text)


def is_mandarin(text: str) -> bool:
    """Whether the text holds a Chinese character."""
    return bool(_CJK.search(text))


def wish(text: str) -> Wish | None:
    """What the whole utterance asks of the system itself, in either language; None when it is about something else."""
    text = normal(text)
    return next((kind for kind, pattern in _WISHES if pattern.match(text)), None)


def language_wish(text: str) -> str | None:
    """The language ("en" or "zh") the whole utterance asks to be served in, or None."""
    text = normal(text)
    return next((tag for tag, pattern in _LANGUAGES if pattern.match(text)), None)
