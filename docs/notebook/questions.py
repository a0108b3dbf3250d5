"""The questions to the lake, as a marimo notebook.

marimo edit docs/notebook/questions.py -- --lake data/lake
marimo export html docs/notebook/questions.py -o questions.html -- --lake data/lake
"""

import marimo

app = marimo.App(width="medium")


@app.cell
def _():
    import altair as alt
    import marimo as mo

    from lake import lake

    root = mo.cli_args().get("lake") or "data/lake"
    lk = lake(root)
    mo.stop(not lk.ledger.num_rows, mo.md(f"**{root}: no lake.** Run `make run-local`, or pass `-- --lake PATH`."))
    connection = lk.connect()
    connection.execute("""
        CREATE TEMP TABLE violations AS
        SELECT source, violation_code, area, event_time AT TIME ZONE 'America/New_York' AS local_time, status
        FROM (FROM qualified UNION ALL FROM unqualified) WHERE status IS DISTINCT FROM 'officer'
    """)

    def ask(query):
        """The answer as a polars frame."""
        return connection.sql(query).pl()

    def bars(frame, **encoding):
        """A chart as wide as the page."""
        return alt.Chart(frame, width=720, height=240).mark_bar().encode(**encoding)

    upright = alt.Axis(labelAngle=0)
    number = "violations"

    mo.md(f"# {ask('SELECT count(*) AS n FROM violations')['n'][0]:,} violations in `{root}`")
    return alt, ask, bars, mo, number, upright


@app.cell
def _(alt, ask, bars, mo, number, upright):
    hours = ask("SELECT hour(local_time) AS hour, source, count(*) AS n FROM violations GROUP BY ALL ORDER BY hour")
    parts = ask("""
        SELECT CASE WHEN hour(local_time) BETWEEN 6 AND 12 THEN 'morning'
                    WHEN hour(local_time) BETWEEN 13 AND 19 THEN 'afternoon' ELSE 'other' END AS part_of_day,
               count(*) AS n
        FROM violations GROUP BY ALL ORDER BY n DESC
    """)
    when = bars(
        hours, x=alt.X("hour:O", axis=upright, title="hour in New York"), y=alt.Y("n:Q", title=number), color="source:N"
    )
    mo.vstack([mo.md("## 1 · When in the day?"), when, mo.ui.table(parts, selection=None)])
    return (parts,)


@app.cell
def _(alt, ask, bars, mo, number, upright):
    weekdays = ask("""
        SELECT isodow(local_time) AS day, strftime(local_time, '%A') AS weekday, count(*) AS n
        FROM violations GROUP BY ALL ORDER BY day
    """)
    days = ask("""
        SELECT CASE WHEN isodow(local_time) <= 5 THEN 'working days' ELSE 'weekends' END AS days, count(*) AS n,
               count(*) / CASE WHEN days = 'working days' THEN 5 ELSE 2 END AS a_day
        FROM violations GROUP BY days ORDER BY n DESC
    """)
    in_order = weekdays["weekday"].to_list()
    which = bars(weekdays, x=alt.X("weekday:N", sort=in_order, axis=upright, title=None), y=alt.Y("n:Q", title=number))
    mo.vstack([mo.md("## 2 · Working days or weekends?"), which, mo.ui.table(days, selection=None)])
    return (days,)


@app.cell
def _(alt, ask, bars, mo, number, upright):
    quarters = ask(
        "SELECT 'Q' || quarter(local_time) AS quarter, count(*) AS n FROM violations GROUP BY ALL ORDER BY 1"
    )
    chart = bars(quarters, x=alt.X("quarter:N", axis=upright, title=None), y=alt.Y("n:Q", title=number))
    mo.vstack([mo.md("## 3 · Which quarter?"), chart, mo.ui.table(quarters, selection=None)])
    return (quarters,)


@app.cell
def _(alt, ask, bars, mo, number):
    codes = ask("""
        SELECT violation_code AS code, count(*) AS n FROM violations
        WHERE violation_code <> 0 GROUP BY ALL ORDER BY n DESC, code
    """)
    most = bars(codes.head(10), y=alt.Y("code:N", sort="-x"), x=alt.X("n:Q", title=number))
    mo.vstack([mo.md("## 4 · Which violations?"), most, mo.ui.table(codes, selection=None)])
    return (codes,)


@app.cell
def _(ask, mo):
    officers = ask("""
        SELECT source, count(*) AS violations, count(*) FILTER (WHERE violation_code = 0) AS without_a_code
        FROM violations GROUP BY ALL ORDER BY source
    """)
    answers = ask("""
        SELECT count(*) AS answered, quantile_cont(epoch(answered_at - event_time), 0.5) AS median_seconds
        FROM unqualified JOIN (
            SELECT answers, min(event_time) AS answered_at FROM qualified WHERE status = 'officer' GROUP BY answers
        ) answer ON answer.answers = message_id
    """)
    mo.vstack(
        [
            mo.md("## 5 · How much human work?"),
            mo.ui.table(officers, selection=None),
            mo.ui.table(answers, selection=None),
        ]
    )
    return (officers,)


@app.cell
def _(ask, mo):
    ledger = ask("""
        SELECT source, count(*) AS units, sum(rows_in)::BIGINT AS rows_in, sum(positions)::BIGINT AS positions,
               sum(qualified)::BIGINT AS qualified, sum(unqualified)::BIGINT AS unqualified,
               sum(dead_letters)::BIGINT AS dead_letters, sum(images)::BIGINT AS images,
               sum(duplicates)::BIGINT AS duplicates
        FROM ledger GROUP BY ALL ORDER BY source
    """)
    refused = ask("SELECT reason, count(*) AS n FROM dead_letters GROUP BY ALL ORDER BY n DESC")
    mo.vstack(
        [mo.md("## What is in the lake?"), mo.ui.table(ledger, selection=None), mo.ui.table(refused, selection=None)]
    )
    return (ledger,)


if __name__ == "__main__":
    app.run()
