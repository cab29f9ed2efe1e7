"""What every session store must do, whatever it stores in: the published specification of `hector.stores.base.Store`.

A new store joins by adding itself to `BACKENDS` in conftest.py.
"""
