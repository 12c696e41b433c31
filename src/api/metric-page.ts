/** The table of metrics of docs/metrics.md; `scripts/readme-tables.mjs` writes it, a test checks that it is current. */
import { metricTable } from '../metrics/metric-table.js';
import { withMarkedPart } from './marked-part.js';

const markers = ['<!-- metrics: written by scripts/readme-tables.mjs -->\n', '<!-- end of metrics -->'] as const;

/** `page` with the table between its two markers. Throws where they are not there. */
export const withMetricTable = (page: string) => withMarkedPart(page, markers, metricTable());
