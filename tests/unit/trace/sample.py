"""A specification of our own, in the form in which RFCs are published, pages and all."""

FIRST_PAGE = """\
Wasp Working Group                                            A. Author
Request for Comments: 9999                                    June 2024
Category: Standards Track


                        The Nest Protocol

Abstract

   Nests MUST NOT be counted here: this is told again below.

Table of Contents

   1.  Words  . . . . . . . . . . . . . . . . . . . . . . . . . .  1
   2.  Nests MUST Be Entered  . . . . . . . . . . . . . . . . . .  1

1.  Words

   The key words "MUST", "MUST NOT", "SHOULD" and "MAY" in this
   document are to be interpreted as described in RFC 2119.  What is
   written as "MUST" is meant.

2.  Nests

   A wasp MUST knock (see Section 2.1, e.g. Figure 1) before it
   enters.  A guard SHOULD answer, i.e. within a second, but MAY
   sleep.  (A nest without a guard MUST NOT be entered.  It is
   closed.)

   A wasp MUST carry the following:

   o  a name

   o  a colour, which MUST be yel-
      low and

   o  a sting that cannot be lost

   The name of a nest has to be told by a guard that, if




Author                       Standards Track                    [Page 1]
"""

SECOND_PAGE = """
RFC 9999                   The Nest Protocol                   June 2024


   asked, MUST NOT lie.

2.1.  Doors of Nests That Are Larger
      Than Others

   FORM:  2 bits

      MUST be 0 unless the door is open.

      +---+---+
      | 0 | 1 |
      +---+---+

   1.  Look at the door.

   2.  Open it.  A wasp SHOULD NOT push.

    door    = hinge  ; MUST squeak
              [ bell ]  ; which wasps MAY ring
                        ; twice

3.  References

   [RFC2119]  Bradner, S., "Key words for use in RFCs to Indicate what
              MUST be done", March 1997.

3.1.  Normative References

   A reference MUST NOT be taken as prose.

Appendix A.  More Words

   A nest is OPTIONAL.

A.1.  Last Words

   Last words are RECOMMENDED.

Author's Address

   A. Author
   A house that MUST NOT be named
"""

PAGED = FIRST_PAGE + "\f" + SECOND_PAGE
"""Two pages, with a form feed between them."""

EXPECTED = {
    "nest/2/1": "A wasp MUST knock (see Section 2.1, e.g. Figure 1) before it enters.",
    "nest/2/2": "A guard SHOULD answer, i.e. within a second, but MAY sleep.",
    "nest/2/3": "(A nest without a guard MUST NOT be entered.",
    "nest/2/4": "A wasp MUST carry the following:",
    "nest/2/5": "a colour, which MUST be yel-low and",
    "nest/2/6": "The name of a nest has to be told by a guard that, if asked, MUST NOT lie.",
    "nest/2.1/1": "MUST be 0 unless the door is open.",
    "nest/2.1/2": "A wasp SHOULD NOT push.",
    "nest/2.1/3": "MUST squeak",
    "nest/2.1/4": "which wasps MAY ring twice",
    "nest/A/1": "A nest is OPTIONAL.",
    "nest/A.1/1": "Last words are RECOMMENDED.",
}
"""The normative sentences of it."""
