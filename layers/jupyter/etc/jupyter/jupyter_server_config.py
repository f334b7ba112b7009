# The token is Jupyter's own: a new one at each start, printed in the log, unless
# the container is given JUPYTER_TOKEN or JUPYTER_TOKEN_FILE.
import os

c = get_config()  # noqa: F821
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = os.path.expanduser("~")
