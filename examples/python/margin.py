"""The margin of each sales record: CSV with a header on stdin, a line of JSON each on stdout, in the same order."""

import csv
import json
import os
import sys

sys.stdin.reconfigure(newline="")  # line ends within quotes are the csv module's to read
currency = os.environ["CURRENCY"]

with open(3, "w") as bad_records:
    for number, record in enumerate(csv.DictReader(sys.stdin), start=1):
        try:
            revenue, profit = float(record["Total Revenue"]), float(record["Total Profit"])
            margin = round(profit / revenue, 4)
        except (ValueError, ZeroDivisionError) as error:
            json.dump({"record": number, "reason": str(error)}, bad_records)
            print(file=bad_records)
            continue
        print(json.dumps({"order": record["Order ID"], "profit": profit, "currency": currency, "margin": margin}))
