"""The choice table: which measure should teaching raise, with which form of Φ? Found on one student.

    python -m experiments choice --data DATA-BIN --student CHECKPOINT      run what is missing
    python -m experiments choice --report                                 the table in Markdown, from the records alone

For each form, the student is trained once with neutral Φ, and the cotangents of every measure on two disjoint halves
of a sample of dev go back through this one run. How far ΣdΦ of the halves agree is the cosine of the table. Then Φ is
moved along ΣdΦ of the first half, to and fro, and the student trained again with the same batches and dropout masks:
the change of the measure on the second half stands beside what the derivatives predict, and the change of greedy BLEU
is on sentences that no measure saw. As a control, Φ is moved as far with random signs.

`table.py` declares measures, forms, moves and the options of teaching; options of `--task dlf_teaching` after `--`
come last and replace them. Each finished pair of a measure and a form is one record in `results/choice`; a pair with a
record is not run again, and a record that other options made is refused.
"""
