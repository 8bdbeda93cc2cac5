-- What the schema of versions 2 and 3 had otherwise than db/schema.sql: db/schema_check.h.

CREATE VIEW pareto AS
SELECT model.name  AS model,
       data.name   AS data,
       coalesce(u.part, '') AS part,
       data.context AS context,
       f.dtype     AS dtype,
       f.metric    AS metric,
       f.cost_kind AS cost_kind,
       r.widths    AS widths,
       m.cost      AS cost,
       CASE f.metric WHEN 'loss' THEN r.loss WHEN 'kl' THEN r.kl ELSE r.agreement END AS value,
       CASE f.metric WHEN 'loss' THEN r.loss_se WHEN 'kl' THEN r.kl_se ELSE r.agreement_se END
                   AS standard_error,
       exp(r.loss) AS perplexity,
       r.id        AS record
FROM front f
JOIN member m ON m.front = f.id
JOIN record r ON r.id = m.record
JOIN model ON model.id = f.model
JOIN data ON data.id = f.data
LEFT JOIN data_use u ON u.model = f.model AND u.data = f.data
ORDER BY f.model, f.data, f.dtype, f.metric, f.cost_kind, m.cost;
