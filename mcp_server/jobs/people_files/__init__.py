"""Files of people, as LinkedIn, CRMs, mail programs and spreadsheets write them, read into rows.

`read_table` turns bytes or text into rows, each with a person or the reason why it has none, and reports the meaning of
each column. A malformed row loses only that row, and a bad cell only that cell.
"""

from mcp_server.jobs.people_files.columns import Mapping
from mcp_server.jobs.people_files.encodings import ENCODINGS
from mcp_server.jobs.people_files.files import MAX_FILE_BYTES, read_allowed
from mcp_server.jobs.people_files.table import Record, Table, read_table

__all__ = ["ENCODINGS", "MAX_FILE_BYTES", "Mapping", "Record", "Table", "read_allowed", "read_table"]
