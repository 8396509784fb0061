"""The readers of all published data sets, by their names on the command line."""

from training.datasets import (
    coco, human36m, human36m_processed, humaneva, kth_football, lsp, mpi_inf_3dhp,
    mpi_inf_3dhp_test, mpii, muco, mupots, panoptic, surreal, threedpw)

READERS = {
    'human36m': human36m.Human36MReader,
    'human36m_videopose3d': human36m_processed.Human36MVideoPoseReader,
    'human36m_fetch': human36m_processed.Human36MFetchReader,
    'mpi_inf_3dhp': mpi_inf_3dhp.MpiInf3dhpReader,
    'mpi_inf_3dhp_test': mpi_inf_3dhp_test.MpiInf3dhpTestReader,
    'humaneva': humaneva.HumanEvaReader,
    'kth_football': kth_football.KthFootballReader,
    'surreal': surreal.SurrealReader,
    'panoptic': panoptic.PanopticReader,
    'muco': muco.MucoReader,
    'muco_processed': muco.MucoProcessedReader,
    'mupots': mupots.MupotsReader,
    '3dpw': threedpw.ThreedpwReader,
    'mpii': mpii.MpiiReader,
    'coco': coco.CocoReader,
    'lsp': lsp.LspReader,
    'lspet': lsp.LspetReader,
}
