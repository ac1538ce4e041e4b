"""Layouts of published specifications, each in an excerpt of our own: what binds is found."""

import pytest

from vespiary.prove.trace.blocks import blocks
from vespiary.prove.trace.healing import heal
from vespiary.prove.trace.normative import read
from vespiary.prove.trace.sections import cut

PROSE_WITH_AN_EQUATION = """
3.4.3.  Wings

   A wasp with n wings is drawn in n strokes, of which the case with
   n = 0 is the larva.  A painter MUST NOT draw wings on a larva, even
   where the model seems to ask for it.
"""

BARE_SEMICOLONS = """
3.8.  Stings

     sting = shaft barb

     ;
     ; The shaft MUST be straight
     ;
     ; The barb MAY be bent,
     ; a little
     ;
"""

LEFT_MARGIN = """
9.  Formal Syntax

   The following syntax uses rules.

nest            = 1*cell [comb]
                    ; A cell MUST be closed

comb            = "(" *cell ")"

+------+------+
| cell | comb |
+------+------+

struct {
    uint8 cells;
} Nest;

   A nest MUST have cells.

10.  Author's Note

   A note MUST be short.
"""

LEFT_MARGIN_PROSE = """
1.  Introduction

Some texts have no indentation at all, and begin each paragraph at the
left margin. A wasp MUST NOT mind.

Short lines of them look like headings
but go on. A wasp MAY mind.
"""

TWO_COLUMNS = """
4.4.1.  Fields

   Field             Larva             Wasp
   -----             -----             ----
   Wings             MUST NOT          MUST (in summer)
   Requested cell    MAY               MUST NOT
                                       unless asked
   Colour            any               any

   FIELD      OCTETS       DESCRIPTION
   -----      ------       -----------
   nest            1  What the nest is built of; a wasp MUST
                      write it first.
   name            2  How it is called.
"""

INDENTED_HEADINGS = """
1.  Introduction

   Words.

   1.1.  Purpose

      A purpose SHOULD be clear.

   1.2.  Scope

      1.  This is an item of a list, and not a section.

      2.  An item MUST NOT be a section.

2.  Words

   A word MUST be short.
"""

CUT_AT_A_REFERENCE = """
5.  Doors

   A door is opened as it is described in Section
\f
Wasp                      Doors                      June 2024

   3.2 of the other document, and then a wasp MUST
   close it.

   A door is also described in
\f
Wasp                      Doors                      June 2024

   [RFC9999], by which a guard MUST be asked.
"""

DEFINITIONS = """
4.1.1.  Request

   nest_type
         REQUIRED.  The value MUST be "paper".

   nest_name
         OPTIONAL.  The name of the nest.

   colour
         RECOMMENDED.
"""

DEFINED_IN_ITS_LINE = """
4.2.  Nests

   paper_nest:  A nest of paper.  In summer a wasp, any wasp,
      MUST NOT leave it.

   old_name:  A single word which MUST have
      the value 0.

   Description:  Wasps MUST know whose nest it is, and how old
      the nest is that they
\f
Wasp                      Nests                      June 2024

      leave.  A guard may ask.
\f
Wasp                      Nests                      June 2024

   young_name:  A word that MAY follow.
"""

CAPITAL_RULES = """
9.  Syntax

   One rule a line.

CELL-CHAR       = <any CHAR but cell-specials>
                    ; A reader MUST know
\f
Wasp                      Syntax                     June 2024

                    ; all of them
                    ;
                  cell / comb /
                    ; Cells SHOULD NOT have
                    names
                    ; of their own.

   A rule MUST end.

9.1.1.  Waiting: 5 Minutes.

   A wasp MUST wait.
"""

CELLS_OF_SEVERAL_LINES = """
4.4.  Options

Option            LARVA             WASP
------            -----             ----
Wings             MAY               MUST (in
                  (in spring)       summer)
                  MUST NOT          MUST NOT
                  (in winter)       (in winter)
Colour            MAY               MAY
"""

DASHES = """
4.3.  Parameters

   o Those that were asked for, by these rules:

        -- IF the wasp knows the parameter
           from elsewhere, it MUST send that, ELSE

        -- it MUST NOT send one.
"""

ASIDE = """
4.5.  Notes

   |  *Note:* For historical reasons, a wasp MAY change the
   |  method.
"""

LAYOUTS = {
    "definitions in the lines of their terms": (
        DEFINED_IN_ITS_LINE,
        {
            "x/4.2/1": "In summer a wasp, any wasp, MUST NOT leave it.",
            "x/4.2/2": "old_name: A single word which MUST have the value 0.",
            "x/4.2/3": "Description: Wasps MUST know whose nest it is, and how old the nest is that"
            " they leave.",
            "x/4.2/4": "young_name: A word that MAY follow.",
        },
    ),
    "rules in capitals, and comments over pages": (
        CAPITAL_RULES,
        {
            "x/9/1": "A reader MUST know all of them",
            "x/9/2": "Cells SHOULD NOT have names of their own.",
            "x/9/3": "A rule MUST end.",
            "x/9.1.1/1": "A wasp MUST wait.",
        },
    ),
    "cells of several lines": (
        CELLS_OF_SEVERAL_LINES,
        {
            "x/4.4/1": "Wings MAY (in spring) MUST NOT (in winter) MUST (in summer) MUST NOT (in"
            " winter)",
            "x/4.4/2": "Colour MAY MAY",
        },
    ),
    "items with dashes": (
        DASHES,
        {
            "x/4.3/1": "IF the wasp knows the parameter from elsewhere, it MUST send that, ELSE",
            "x/4.3/2": "it MUST NOT send one.",
        },
    ),
    "asides with a bar": (
        ASIDE,
        {"x/4.5/1": "*Note:* For historical reasons, a wasp MAY change the method."},
    ),
    "prose with an equation": (
        PROSE_WITH_AN_EQUATION,
        {
            "x/3.4.3/1": "A painter MUST NOT draw wings on a larva, even where the model seems to"
            " ask for it."
        },
    ),
    "bare semicolons": (
        BARE_SEMICOLONS,
        {"x/3.8/1": "The shaft MUST be straight", "x/3.8/2": "The barb MAY be bent, a little"},
    ),
    "figures at the left margin": (
        LEFT_MARGIN,
        {
            "x/9/1": "A cell MUST be closed",
            "x/9/2": "A nest MUST have cells.",
            "x/10/1": "A note MUST be short.",
        },
    ),
    "prose at the left margin": (
        LEFT_MARGIN_PROSE,
        {"x/1/1": "A wasp MUST NOT mind.", "x/1/2": "A wasp MAY mind."},
    ),
    "tables of columns": (
        TWO_COLUMNS,
        {
            "x/4.4.1/1": "Wings MUST NOT MUST (in summer)",
            "x/4.4.1/2": "Requested cell MAY MUST NOT unless asked",
            "x/4.4.1/3": "nest 1 What the nest is built of; a wasp MUST write it first.",
        },
    ),
    "indented headings": (
        INDENTED_HEADINGS,
        {
            "x/1.1/1": "A purpose SHOULD be clear.",
            "x/1.2/1": "An item MUST NOT be a section.",
            "x/2/1": "A word MUST be short.",
        },
    ),
    "a page that begins with a reference": (
        CUT_AT_A_REFERENCE,
        {
            "x/5/1": "A door is opened as it is described in Section 3.2 of the other document, and"
            " then a wasp MUST close it.",
            "x/5/2": "A door is also described in [RFC9999], by which a guard MUST be asked.",
        },
    ),
    "a key word alone": (
        DEFINITIONS,
        {
            "x/4.1.1/1": "nest_type: REQUIRED.",
            "x/4.1.1/2": 'The value MUST be "paper".',
            "x/4.1.1/3": "nest_name: OPTIONAL.",
            "x/4.1.1/4": "colour: RECOMMENDED.",
        },
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_binds_is_found_in(layout: str) -> None:
    text, expected = LAYOUTS[layout]
    assert {sentence.id: sentence.text for sentence in read(text, "x")} == expected


def test_figures_at_the_left_margin_open_no_section() -> None:
    assert [section.number for section in cut(heal(LEFT_MARGIN))] == ["9", "10"]


@pytest.mark.parametrize("text", [text for text, _ in LAYOUTS.values()])
def test_no_line_of_a_text_is_too_much(text: str) -> None:
    """Texts are cut off anywhere, and lines are lost: reading them must not fail."""
    lines = text.splitlines()
    for place in range(len(lines)):
        for rest in (lines[place:], lines[:place], lines[:place] + lines[place + 1 :]):
            for section in cut(heal("\n".join(rest))):
                blocks(section.lines)
